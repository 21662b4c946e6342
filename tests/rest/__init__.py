"""What tests of the REST API share: the API, its workers and a bank in this process, on the session's servers."""
