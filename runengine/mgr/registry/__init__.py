"""Registries themselves: logins, searches, explanations, and files kept in them as artifacts."""
