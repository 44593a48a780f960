package lib.commit_test

import data.lib.commit

test_message if {
	message := "\n\nShop: version 2\nmore\n\nBody: none\n\nReviewed-By: Ann \nTicket:1\nno trailer here\n"
	commit.subject == "Shop: version 2" with input.commit.message as message
	commit.trailers == {["reviewed-by", "Ann"], ["ticket", "1"]} with input.commit.message as message
	commit.trailers == {["ticket", "1"]} with input.commit.message as "a\r\n\r\nTicket: 1\r\n"
}

test_subject_is_no_trailer if {
	every message in ["Ticket: 1", "Ticket: 1\n\n", "a\nTicket: 1", "a\n\nTicket: 1\n\nend"] {
		commit.trailers == set() with input.commit.message as message
	}
}

test_no_message if {
	every document in [{}, {"commit": {}}, {"commit": {"message": ""}}] {
		not commit.subject with input as document
		commit.trailers == set() with input as document
	}
}

test_author if {
	commit.author_domain == "example.com" with input.commit.author as "Ann <ann@Example.com>"
	every author in ["Ann", "Ann <ann>", "Ann <ann@example.com", "<a@b> Ann <c@d@e>", ""] {
		not commit.author_domain with input.commit.author as author
	}
}

test_signers if commit.signers == {"a", "b"} with input.commit.signers as ["a", "b", "a", ""]
