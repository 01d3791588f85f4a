"""The operator: resources in, workers out."""
