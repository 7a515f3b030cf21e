"""Records whose keeping is all that is asked: one row (`Noun`) registers Create, Describe, List, Update and Delete from botocore's shapes.

A row is right for what *is* a record (a domain, an image, a hub). What acts (a job, an endpoint) has handlers and a loop of its own."""
