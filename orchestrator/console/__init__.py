"""What a person sees of plans, runs, units and networks; is handed typed values."""
