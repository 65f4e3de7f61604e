"""Bytes to and from the service: S3 uploads and signed-URL downloads."""
