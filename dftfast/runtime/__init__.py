"""What a command does around its work, whatever that is.

`command` logs and exits, `errors` end it in one line, `signals` stop it where it can go on from,
`files` are whole or absent, and `profile` says where the time goes.
"""
