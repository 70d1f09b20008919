"""From points to trainings, cells and spool batches: identities, cost, what speaks against starting."""
