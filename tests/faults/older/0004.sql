-- Left by a Tollway of schema 0004 that was killed in the middle of an answer.
-- api_key tw_Z7vXGeNLYlP7DuPIRuvbDc5BpAezAS1q1iLT
-- secret.key MDhhMzgxMmQyM2ZiMzQwYmViY2U0ZTFhN2E3ZDJlMzNiMjI3ODdjZGFiOTNkZTJkYTY2NTJlNTE2NzEyNjk2Ygo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_vbGJHg9hpKeT0eg6cw7Dc','owner',1.79542204108500719067e+09,1.79542204108500719067e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	prefix VARCHAR(12) NOT NULL, 
	digest BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	deleted_at DOUBLE, kind VARCHAR(16) DEFAULT 'api' NOT NULL, previous_prefix VARCHAR(12), previous_digest BLOB, previous_expires_at DOUBLE, scopes TEXT, models TEXT, spend_limit_credits BIGINT, spend_window VARCHAR(16), requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, updated_at DOUBLE DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('key_iW66WbOV6PL5JSoZssoZf','acc_vbGJHg9hpKeT0eg6cw7Dc','first key','tw_uerzjctRz',X'83C7AF346ADD6A26270FA7A6EB929942CCB174F009056C9E31807D8C85B2AA0F',1,1.79542204108672237396e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542204108672237396e+09);
INSERT INTO "api_keys" VALUES('key_r4i1nUTf4khmIY95qJ6ZI','acc_vbGJHg9hpKeT0eg6cw7Dc','older','tw_Z7vXGeNLY',X'504D4707D312075DC7AE05ACCB9FEADA2D57AE0B2B63079F3FE47EB058657161',1,1.79542204567275929453e+09,NULL,1.7954220475249752998e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542204567275929453e+09);
CREATE TABLE balances (
	account_id VARCHAR(32) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	entries BIGINT NOT NULL, 
	head BLOB NOT NULL, 
	CONSTRAINT pk_balances PRIMARY KEY (account_id), 
	CONSTRAINT ck_balances_ck_balances_held_not_negative CHECK (held >= 0), 
	CONSTRAINT ck_balances_ck_balances_not_overdrawn CHECK (posted >= held), 
	CONSTRAINT fk_balances_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
INSERT INTO "balances" VALUES('acc_vbGJHg9hpKeT0eg6cw7Dc',9998694,2482,20,X'1291D7BB13D0C4BDE0E78410EB7CA16E91CBDBD641D289E924D82B147A9B8C70');
CREATE TABLE holds (
	request_id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	node_id VARCHAR(32) NOT NULL, 
	credits BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	spend_window BIGINT, 
	CONSTRAINT pk_holds PRIMARY KEY (request_id)
);
INSERT INTO "holds" VALUES('1W0DdmeBJDc3yb2PQ7gDG','acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','node_RFt7hxK0g3pylX8m',2482,1.79542204841944265372e+09,NULL);
CREATE TABLE idempotency (
	account_id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (account_id, "key")
);
CREATE TABLE key_spend (
	key_id VARCHAR(32) NOT NULL, 
	starts_at BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	CONSTRAINT pk_key_spend PRIMARY KEY (key_id, starts_at)
);
CREATE TABLE ledger_entries (
	id INTEGER NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	number BIGINT NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	key_id VARCHAR(32), 
	model VARCHAR(200), 
	reference VARCHAR(64), 
	price_version VARCHAR(16), 
	note VARCHAR(200), 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_ledger_entries PRIMARY KEY (id), 
	CONSTRAINT uq_ledger_entries_account_id_number UNIQUE (account_id, number), 
	CONSTRAINT uq_ledger_entries_request_id_kind UNIQUE (request_id, kind)
);
INSERT INTO "ledger_entries" VALUES(1,'acc_vbGJHg9hpKeT0eg6cw7Dc',1,'grant','first_grant_acc_vbGJHg9hpKeT0eg6cw7Dc',10000000,0,0,1.79542204112853860859e+09,NULL,NULL,'init',NULL,NULL,X'300063E6014F807220D61CF5D8DB4CACCBAD8B222093BD761BF0009E3757EFD9');
INSERT INTO "ledger_entries" VALUES(2,'acc_vbGJHg9hpKeT0eg6cw7Dc',2,'hold','oDpZgiTERlpu2i7rPACvZ',0,2430,0,1.79542204753215408328e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'965849BBB53B989C4126E178336A4182C24C6EB7999E9DCA54E640014CDA0298');
INSERT INTO "ledger_entries" VALUES(3,'acc_vbGJHg9hpKeT0eg6cw7Dc',3,'settle','oDpZgiTERlpu2i7rPACvZ',-206,-2430,0,1.7954220475540442467e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','qpw2wXcc0YjobLuBnE5tu','0a4d8b9c302928ae',NULL,X'BCF58618417BEA7344692C03B3E20E55926A923527B7581D37C69B3461D22CBE');
INSERT INTO "ledger_entries" VALUES(4,'acc_vbGJHg9hpKeT0eg6cw7Dc',4,'hold','dCvdY7zfY0NKvoXhVajvh',0,2428,0,1.79542204760909700394e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'3DD3CFEB7AEDDA00002686A10B276920EAFE88A049670ED3C0BD37E94B2CDF24');
INSERT INTO "ledger_entries" VALUES(5,'acc_vbGJHg9hpKeT0eg6cw7Dc',5,'settle','dCvdY7zfY0NKvoXhVajvh',-208,-2428,0,1.79542204761536574363e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','pDeMrZN5FynzDppAUyPNW','0a4d8b9c302928ae',NULL,X'464336783BA8A3263F5C5CE86B4AEE4D364F8B9F6A9ADAD85351E7C9AD4D6CB1');
INSERT INTO "ledger_entries" VALUES(6,'acc_vbGJHg9hpKeT0eg6cw7Dc',6,'hold','b9b9rFGVyQeQD0VZ08GEs',0,2430,0,1.7954220476735827923e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'50D3A29432B5D559A153F391A622A7ED29324EA739D866A62170457181673ED9');
INSERT INTO "ledger_entries" VALUES(7,'acc_vbGJHg9hpKeT0eg6cw7Dc',7,'settle','b9b9rFGVyQeQD0VZ08GEs',-210,-2430,0,1.79542204769782710082e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','HdlcWisabdrdRZJdu15jZ','0a4d8b9c302928ae',NULL,X'250EF0CC21A36F53A84257F839B1ED428C69CEDB3C603144C2CDB51917AEE6BE');
INSERT INTO "ledger_entries" VALUES(8,'acc_vbGJHg9hpKeT0eg6cw7Dc',8,'hold','8cvNw4otx0gS3PTJ11Ne0',0,2428,0,1.79542204771064758299e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'32FA39EB8D310EE79EB8379A7EB6BFF1CA64ECE04B62D7EB614A7EF813F1F2DC');
INSERT INTO "ledger_entries" VALUES(9,'acc_vbGJHg9hpKeT0eg6cw7Dc',9,'settle','8cvNw4otx0gS3PTJ11Ne0',-212,-2428,0,1.79542204772198367122e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','ZwTdY8sSf5tryKqayIn5E','0a4d8b9c302928ae',NULL,X'F40B96F95EE393C2EEF2653DD08136FC37B9320C0E1AF1122B19C5B3149B2F00');
INSERT INTO "ledger_entries" VALUES(10,'acc_vbGJHg9hpKeT0eg6cw7Dc',10,'hold','59RnLwWoZn9xxAgo15IlS',0,2430,0,1.79542204773019838329e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'F5B40326F5BDCB2BAC719497DDE8290E1592FB4464DAA67644FDCF06658177BB');
INSERT INTO "ledger_entries" VALUES(11,'acc_vbGJHg9hpKeT0eg6cw7Dc',11,'settle','59RnLwWoZn9xxAgo15IlS',-214,-2430,0,1.79542204773312759399e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','7BuB2H2Cgr4i5riGxD2Xj','0a4d8b9c302928ae',NULL,X'6F69465F550FD02EE64DB51B6BB6EADCA0C7E909801417FAD84138117172A1A2');
INSERT INTO "ledger_entries" VALUES(12,'acc_vbGJHg9hpKeT0eg6cw7Dc',12,'hold','MYJLet49ySfJIuqj4gfQZ',0,2428,0,1.79542204774288105964e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'47DC46D20BFCDAF8F753F779F2148D161C68E02C25708A92C4AEC880F237676C');
INSERT INTO "ledger_entries" VALUES(13,'acc_vbGJHg9hpKeT0eg6cw7Dc',13,'settle','MYJLet49ySfJIuqj4gfQZ',-216,-2428,0,1.79542204774648809432e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','VJYiTnYcjXLPbM1OIkQhw','0a4d8b9c302928ae',NULL,X'39ACC7AFC3443E7D844236411EE067484949FD1E58C1349A6A7AC5520EA697C6');
INSERT INTO "ledger_entries" VALUES(14,'acc_vbGJHg9hpKeT0eg6cw7Dc',14,'hold','WQz9VZ3AFM0FDSLaIefQ3',0,2440,0,1.79542204775655865663e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'3BBD40E95C32F62531954F7651BDDB2446A980EF4BC395D4761EAA1ACBE10A1B');
INSERT INTO "ledger_entries" VALUES(15,'acc_vbGJHg9hpKeT0eg6cw7Dc',15,'release','WQz9VZ3AFM0FDSLaIefQ3',0,-2440,0,1.79542204776154661182e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','Gud4LYyUrNAG5qS7YqZ0n','0a4d8b9c302928ae',NULL,X'032B0FC63A02F4A77FFA6E07AE4ECE25F35FD37EB4E96762D80DBDDF4D2238F6');
INSERT INTO "ledger_entries" VALUES(16,'acc_vbGJHg9hpKeT0eg6cw7Dc',16,'hold','v4i9mseYPEvnmDzY2S8i5',0,2470,0,1.79542204777769374849e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'56C8B240424B279F8527874B3AED2FD4E656E22B90B9BEB2BD46FE73B9C28440');
INSERT INTO "ledger_entries" VALUES(17,'acc_vbGJHg9hpKeT0eg6cw7Dc',17,'release','v4i9mseYPEvnmDzY2S8i5',0,-2470,40,1.7954220477959597111e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','98owRBvqyeFAPYvsdWnfq','0a4d8b9c302928ae',NULL,X'7C79BAA0012F06129A2484BA109C5FAB11D2BC8F4A43A734483BF26B1F29E268');
INSERT INTO "ledger_entries" VALUES(18,'acc_vbGJHg9hpKeT0eg6cw7Dc',18,'hold','1YT8yy9H1y3X4GdQ8RuJM',0,2968,0,1.79542204780161643025e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'C4E73071269D035436CFACC28917CDE34AA55108E2AD51CA912B03B085FB759E');
INSERT INTO "ledger_entries" VALUES(19,'acc_vbGJHg9hpKeT0eg6cw7Dc',19,'settle','1YT8yy9H1y3X4GdQ8RuJM',-40,-2968,0,1.7954220478364670277e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted','MeEascUy7Ma5zfeoDYl6z','0a4d8b9c302928ae',NULL,X'2CF3E07C7B44EFB0B978DB81274C3F2ADB189C0A5AEE354552E278026F49FB85');
INSERT INTO "ledger_entries" VALUES(20,'acc_vbGJHg9hpKeT0eg6cw7Dc',20,'hold','1W0DdmeBJDc3yb2PQ7gDG',0,2482,0,1.79542204841944265372e+09,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'1291D7BB13D0C4BDE0E78410EB7CA16E91CBDBD641D289E924D82B147A9B8C70');
CREATE TABLE links (
	digest BLOB NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	account_id VARCHAR(32), 
	role VARCHAR(16) NOT NULL, 
	user_id VARCHAR(32), 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_links PRIMARY KEY (digest), 
	CONSTRAINT fk_links_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_links_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "links" VALUES(X'D8964A74C72A5B96B00D151AE25455D144CA8422F27DEF908FF32F2C644376AC','first_owner',NULL,'owner',NULL,1.7954220411365478039e+09,1.79550844113469338422e+09);
CREATE TABLE login_tries (
	subject VARCHAR(64) NOT NULL, 
	began_at DOUBLE NOT NULL, 
	tries BIGINT NOT NULL, 
	CONSTRAINT pk_login_tries PRIMARY KEY (subject)
);
CREATE TABLE nodes (
	id VARCHAR(32) NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node_RFt7hxK0g3pylX8m',1.79542204667134237287e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.79542204165712189671e+09);
CREATE TABLE rates (
	subject VARCHAR(32) NOT NULL, 
	unit VARCHAR(10) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (subject, unit)
);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	inference_id VARCHAR(64) NOT NULL, 
	client_request_id VARCHAR(128), 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	origin VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	answered_by VARCHAR(200) NOT NULL, 
	route VARCHAR(200) NOT NULL, 
	attempts INTEGER NOT NULL, 
	stream BOOLEAN NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	finish_reason VARCHAR(20), 
	error_code VARCHAR(64), 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	price_version VARCHAR(16) NOT NULL, 
	flags VARCHAR(200), 
	created_at DOUBLE NOT NULL, 
	first_token_ms INTEGER, 
	duration_ms INTEGER NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (id), 
	CONSTRAINT uq_requests_request_id UNIQUE (request_id)
);
INSERT INTO "requests" VALUES(1,'oDpZgiTERlpu2i7rPACvZ','qpw2wXcc0YjobLuBnE5tu',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,2430,206,0,'0a4d8b9c302928ae',NULL,1.79542204753415536883e+09,11,12);
INSERT INTO "requests" VALUES(2,'dCvdY7zfY0NKvoXhVajvh','pDeMrZN5FynzDppAUyPNW',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,2428,208,0,'0a4d8b9c302928ae',NULL,1.79542204761207628248e+09,2,2);
INSERT INTO "requests" VALUES(3,'b9b9rFGVyQeQD0VZ08GEs','HdlcWisabdrdRZJdu15jZ',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,2430,210,0,'0a4d8b9c302928ae',NULL,1.79542204767401647564e+09,8,23);
INSERT INTO "requests" VALUES(4,'8cvNw4otx0gS3PTJ11Ne0','ZwTdY8sSf5tryKqayIn5E',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,2428,212,0,'0a4d8b9c302928ae',NULL,1.79542204771108460429e+09,9,10);
INSERT INTO "requests" VALUES(5,'59RnLwWoZn9xxAgo15IlS','7BuB2H2Cgr4i5riGxD2Xj',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,2430,214,0,'0a4d8b9c302928ae',NULL,1.79542204773060154908e+09,2,2);
INSERT INTO "requests" VALUES(6,'MYJLet49ySfJIuqj4gfQZ','VJYiTnYcjXLPbM1OIkQhw',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,2428,216,0,'0a4d8b9c302928ae',NULL,1.79542204774330568317e+09,2,2);
INSERT INTO "requests" VALUES(7,'WQz9VZ3AFM0FDSLaIefQ3','Gud4LYyUrNAG5qS7YqZ0n',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',33,0,0,0,2440,0,0,'0a4d8b9c302928ae',NULL,1.79542204775698566437e+09,NULL,4);
INSERT INTO "requests" VALUES(8,'v4i9mseYPEvnmDzY2S8i5','98owRBvqyeFAPYvsdWnfq',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',17,0,3,0,2470,0,40,'0a4d8b9c302928ae',NULL,1.79542204777828359602e+09,4,10);
INSERT INTO "requests" VALUES(9,'1YT8yy9H1y3X4GdQ8RuJM','MeEascUy7Ma5zfeoDYl6z',NULL,'acc_vbGJHg9hpKeT0eg6cw7Dc','key_r4i1nUTf4khmIY95qJ6ZI','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,3,0,2968,40,0,'0a4d8b9c302928ae',NULL,1.795422047801989317e+09,21,30);
CREATE TABLE sessions (
	digest BLOB NOT NULL, 
	user_id VARCHAR(32) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (digest), 
	CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE usage_buckets (
	account_id VARCHAR(32) NOT NULL, 
	bucket BIGINT NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	succeeded BIGINT NOT NULL, 
	failed BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	CONSTRAINT pk_usage_buckets PRIMARY KEY (account_id, bucket, key_id, model)
);
INSERT INTO "usage_buckets" VALUES('acc_vbGJHg9hpKeT0eg6cw7Dc',1795421700,'key_r4i1nUTf4khmIY95qJ6ZI','house/scripted',9,7,6,2,667,39,1306,40);
CREATE TABLE users (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	email VARCHAR(255) NOT NULL, 
	password_hash VARCHAR(200) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	last_login_at DOUBLE, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT fk_users_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_users_email UNIQUE (email)
);
CREATE INDEX ix_api_keys_account_id ON api_keys (account_id);
CREATE INDEX ix_api_keys_prefix ON api_keys (prefix);
CREATE UNIQUE INDEX uq_api_keys_previous_digest ON api_keys (previous_digest);
CREATE UNIQUE INDEX uq_api_keys_account_id_name ON api_keys (account_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_holds_account_id ON holds (account_id);
CREATE INDEX ix_holds_node_id ON holds (node_id);
CREATE INDEX ix_ledger_entries_by_hand ON ledger_entries (account_id, at, number) WHERE kind IN ('grant', 'refund', 'adjustment');
CREATE INDEX ix_ledger_entries_transactions ON ledger_entries (account_id, at, number) WHERE posted <> 0;
CREATE INDEX ix_idempotency_at ON idempotency (at);
CREATE INDEX ix_requests_account_id ON requests (account_id, id);
CREATE INDEX ix_requests_client_request_id ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX ix_requests_inference_id ON requests (inference_id);
CREATE INDEX ix_users_account_id ON users (account_id);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_login_tries_began_at ON login_tries (began_at);
COMMIT;
