"""What a report says: headline, facts, checks, limits, put together into one document."""
