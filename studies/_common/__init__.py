"""What the studies share: image sets, trained networks, parts that survive a restart, intervals, figures."""
