"""How services hear of facts: one contract, two buses."""
