"""Study of the bias field attack: success, transfer at matched success, and realism, beside noise."""
