"""Uploads to S3, downloads from signed URLs and part files; API calls belong in `synthesia`, retry decisions in `runner`."""
