"""Tasks: read inputs, call the library, record in MLflow. Flows put them in order."""
