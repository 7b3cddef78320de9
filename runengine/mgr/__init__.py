"""The managers: every operation of the engine, on containers, images and the system."""
