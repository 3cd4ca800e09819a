"""`cellscout watch`: `server` serves pages to the browser; `watched_page` and `watched_runs` keep them up to date."""
