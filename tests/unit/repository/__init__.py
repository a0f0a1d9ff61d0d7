"""The repository itself: what it holds, and what its documents and deployment say."""
