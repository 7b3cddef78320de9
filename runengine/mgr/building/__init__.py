"""``build``: images from Dockerfiles, by builders that are installed beside the engine."""
