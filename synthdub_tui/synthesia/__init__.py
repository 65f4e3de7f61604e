"""The vendor's API: client, schemas and the quota that every call passes."""
