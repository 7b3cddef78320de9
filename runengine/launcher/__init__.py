"""The service's main process: forks workers for calls and monitors for containers."""
