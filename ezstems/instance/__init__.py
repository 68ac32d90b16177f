"""The instance folder: made and migrated, matched with its database, written to as its owner."""
