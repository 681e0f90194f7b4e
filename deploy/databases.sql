-- One database for each server, so that none can lock or migrate another's.
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
CREATE DATABASE prefect;
