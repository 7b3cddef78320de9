"""Registries and content: references, authentication, transport, verified blobs."""
