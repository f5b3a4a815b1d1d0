"""Secure pairing by melody: a key agreement whose result is confirmed by what each device hears the other play."""
