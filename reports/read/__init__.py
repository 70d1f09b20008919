"""From a sweep's tables and manifest to an overview: configurations, trainings, baselines, statistics."""
