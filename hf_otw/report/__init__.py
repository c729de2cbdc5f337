"""Output for people: report page, figures, trackers, model card, table of weights."""
