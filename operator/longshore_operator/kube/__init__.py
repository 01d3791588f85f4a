"""The Kubernetes side of the ports; the only place that imports kopf and kubernetes."""
