"""Fault injection: kills, signals, flipped bits, full disks, neighbours, hostile servers and bad input on a phantom.

``make faults`` runs everything and prints a table; ``tests/e2e/test_faults.py`` runs a short part.
"""
