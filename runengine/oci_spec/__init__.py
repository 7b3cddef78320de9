"""OCI documents: runtime spec and image spec. Pure functions and models, no I/O."""
