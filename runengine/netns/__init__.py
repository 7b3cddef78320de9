"""Network namespaces and what is in them."""
