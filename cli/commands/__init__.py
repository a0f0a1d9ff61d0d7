"""The commands, in a folder for each kind of user. They ask, and show; other modules do."""
