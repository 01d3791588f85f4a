"""The three resources as models, and the CRDs made from them."""
