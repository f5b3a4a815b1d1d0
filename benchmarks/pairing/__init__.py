"""How pairing fares in rooms, against attackers, and beside ggwave."""
