"""The prebuilt queries as SQL, one file per topic, and what reads them."""
