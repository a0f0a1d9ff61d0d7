"""What `validation` reaches outside itself: worker processes, the antivirus, the database, a scratch folder."""
