"""The container manager, one module per verb."""
