"""HTTP API and wall board: every prebuilt query and write for one organization at a time, a live stream, and a page.

`app.create_app` assembles it; `operations` generates the endpoints from the catalogue of `db_utils`.
"""
