"""What an update would do, said for a person: in a pull request, a merge request or a terminal.

`preview` reads what Pulumi prints, `roles`, `pods`, `meaning`, `platform` and `risk` say what it
means, `bill`, `prices` and `cost` what it costs, `report` puts it together, `markdown` and
`terminal` show it. These are pure. `command` runs Pulumi, `offline` the program without Pulumi,
`price_list` asks AWS for prices, `post` speaks to GitHub and GitLab.
"""
