"""A real Kubernetes cluster for the tests, on one machine, without Docker.

The control plane runs as processes of this machine, every node is a network namespace with its own containerd,
kubelet and kube-proxy, so that a node can be cut off or lost. Only the standard library is used: `make lab` works
before any virtual environment exists. The package knows nothing of Longshore but its Dockerfile.
"""
