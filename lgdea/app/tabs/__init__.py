"""One module per tab: its fields and buttons, and which function answers them."""
