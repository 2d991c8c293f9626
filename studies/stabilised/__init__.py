"""Study of the stabilised attack: how much damage it does, and how evenly over image sets."""
