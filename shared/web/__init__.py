"""What every HTTP API has in common: who calls, what they may do, how a refusal is answered."""
