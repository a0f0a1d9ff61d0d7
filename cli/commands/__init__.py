"""The commands, one module for each thing they are about. They ask, and show; other modules do."""
