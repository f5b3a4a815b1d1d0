"""The live path on a real JACK server: how soon, how evenly, how long, and beside what."""
