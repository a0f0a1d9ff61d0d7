"""Who signs: cards, seals, trust, the agent in a browser."""
