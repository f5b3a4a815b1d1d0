"""The live path in a process of its own, watched from this one."""
