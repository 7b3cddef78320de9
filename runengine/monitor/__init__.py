"""One small process per container: owns its stdio, its log and its exit record."""
