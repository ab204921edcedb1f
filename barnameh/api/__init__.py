"""HTTP API and wall board: every prebuilt query and write for one organization at a time, a live stream, and a page.

`app.create_app` puts it together; `operations` makes the endpoints out of the catalogue of `db_utils`.
"""
