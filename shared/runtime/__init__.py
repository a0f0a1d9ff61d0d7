"""What runs a service: settings, tasks, the documents it stores, the workers it gives work to."""
