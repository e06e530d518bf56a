-- Left by a Tollway of schema 0005 that was killed in the middle of an answer.
-- api_key tw_RZ3mxHr7WqCJEmq1WsneajzhDy7dgx09QVIr
-- secret.key YzUwMWU0N2I1NmJjMmJjYzQ1MzNkOWE5M2ZlMTdiMjYzY2FhYThiMzc2ZTk2MDhlODAxNDA1ODY1MWZhYTNjOQo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_iFtwUI50yRdBjqoV48TJ0','owner',1.79542207380641794206e+09,1.79542207380641794206e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
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
INSERT INTO "api_keys" VALUES('key_YaTUxjRKsCpgv7zZUMCiH','acc_iFtwUI50yRdBjqoV48TJ0','first key','tw_GazeiKbfE',X'090B36DE71ACE6B4F0E2EB0DB057DE631CD69AF71050CCEE8EC5149A8643D299',1,1.79542207382510232921e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542207382510232921e+09);
INSERT INTO "api_keys" VALUES('key_vdYaQI6PgohNBHR1EFZ5J','acc_iFtwUI50yRdBjqoV48TJ0','older','tw_RZ3mxHr7W',X'133D73B9DB0519D59A8F21C94639D3B716703BA554471D6D1C8E420AD071A3CA',1,1.7954220805270309448e+09,NULL,1.79542208272423291204e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7954220805270309448e+09);
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
)
 WITHOUT ROWID

;
INSERT INTO "balances" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',9998696,2482,20,X'D7677308ADD9CB5A71789F9C4831A078FC2E64D7FEE38D860359315ED26873E1');
CREATE TABLE holds (
	request_id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	node_id VARCHAR(32) NOT NULL, 
	credits BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	spend_window BIGINT, 
	CONSTRAINT pk_holds PRIMARY KEY (request_id)
)
 WITHOUT ROWID

;
INSERT INTO "holds" VALUES('39yeoAULsQCkUlLOfCC0C','acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','node_rghLTeFFXbBFEyh9',2482,1.79542208370954251288e+09,NULL);
CREATE TABLE idempotency (
	account_id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (account_id, "key")
)
 WITHOUT ROWID

;
CREATE TABLE installation (
	name VARCHAR(32) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_installation PRIMARY KEY (name)
);
INSERT INTO "installation" VALUES('secret_fingerprint','2aba3f5771de158e7681dd45b8f4f3a4eb29eeedc7d1bda9312496873e5b8223');
CREATE TABLE key_spend (
	key_id VARCHAR(32) NOT NULL, 
	starts_at BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	CONSTRAINT pk_key_spend PRIMARY KEY (key_id, starts_at)
)
 WITHOUT ROWID

;
CREATE TABLE ledger_entries (
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
	CONSTRAINT pk_ledger_entries PRIMARY KEY (account_id, number), 
	CONSTRAINT uq_ledger_entries_request_id_kind UNIQUE (request_id, kind)
)
 WITHOUT ROWID

;
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',1,'grant','first_grant_acc_iFtwUI50yRdBjqoV48TJ0',10000000,0,0,1.79542207399086761474e+09,NULL,NULL,'init',NULL,NULL,X'9F3F187962B040C6A7519A7309C973771A570E10377F04935A041AAF1ECC6126');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',2,'hold','39yeo8jsc572zGJ5GOtzK',0,2430,0,1.79542208282312059407e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'FC3524C59BB70D43AB24E40A5DF456242BFF32D6A86FF80F844189355888B89A');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',3,'settle','39yeo8jsc572zGJ5GOtzK',-206,-2430,0,1.7954220828541152477e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo94RwJoRRh7DJJ59E','0a4d8b9c302928ae',NULL,X'B014314E841033118B20B49233A0C74F4F40447343536A2D772FFF1018049C6A');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',4,'hold','39yeo9Bp2yobFmqx3W8TD',0,2428,0,1.79542208289589738838e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'A45D8E9B143EC40868167E5501C00557289ACBF582222667D995B63D289F5994');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',5,'settle','39yeo9Bp2yobFmqx3W8TD',-208,-2428,0,1.79542208291615819934e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9BGp4iEG2cktMMJt','0a4d8b9c302928ae',NULL,X'AAAFFA55613A2D00B973A7F8E39EE4254FFACF9FBC2ACA578DC9C6784F0B47BE');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',6,'hold','39yeo9ErnL2GFaRmSBvMY',0,2430,0,1.79542208292867231365e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'66C8F22AD8774AB7DE706231EEB442318270EFA8717566D028E04FA821554B17');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',7,'settle','39yeo9ErnL2GFaRmSBvMY',-210,-2430,0,1.79542208293305778502e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9EZkflkaBaGW7hIj','0a4d8b9c302928ae',NULL,X'4E03E3EAF2961C0FA2A2A9563D4E004BE70A0EEFAB9A0126F4F3FA12C5BE134D');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',8,'hold','39yeo9G0ECIkxgEEasiWm',0,2428,0,1.79542208295116066931e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'7058C762B374BD75A0D458CD8C6C43673C1A3F92C617B2381793842F8A0DE574');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',9,'settle','39yeo9G0ECIkxgEEasiWm',-212,-2428,0,1.79542208296738648419e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9HbGnDV32nG79asw','0a4d8b9c302928ae',NULL,X'CDAA7D26F47CDBFF8AC7945C01357166EAE68111D035B44273ED8E12F5670ECD');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',10,'hold','39yeo9KALE8u74f17mpB7',0,2430,0,1.79542208299316477775e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'DDC448696C10F381FB67C51EBDDBE06435FDA6AF8161F38A1DBA5E908C28DAFF');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',11,'settle','39yeo9KALE8u74f17mpB7',-214,-2430,0,1795422083.00898,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9La4w3pBNumBxjtg','0a4d8b9c302928ae',NULL,X'F869F9CA2A0F06C9D3DF10FDDF92ED6389638401E58D08DF0D70F2D0945C9575');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',12,'hold','39yeo9OJKSFR6I22lLLXg',0,2428,0,1.79542208303676629069e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'867408FC83F619D0FF294297E2EB226B7AF205E9B5099994E79FBECFDF371EE7');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',13,'settle','39yeo9OJKSFR6I22lLLXg',-216,-2428,0,1.79542208306659293172e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9QuyBY6LGHOvXAr1','0a4d8b9c302928ae',NULL,X'8644C4D586FAB2408E96736218895324738548DA69C8D83B6E289EC8A91885F4');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',14,'hold','39yeo9UXmn4bNNb08DYiv',0,2440,0,1.79542208308843040465e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'9A217B2ABD8AA7145227C4FF7F4216E0578F180FB8E3FAEBF7188430E4C6756A');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',15,'release','39yeo9UXmn4bNNb08DYiv',0,-2440,0,1.79542208309286451342e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9UbhshrDhEj26sp6','0a4d8b9c302928ae',NULL,X'046ACC52D769938E0F09057CF01355AEA1B71EDE4C589D7DEFD66EED2A255E8A');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',16,'hold','39yeo9WTAdiGJq8KcxyCy',0,2470,0,1.79542208310604810717e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'C1ED2B1562084B8AD9E9E244DBDB851A5D7618578A963D97CC2ADAB5FEC2819A');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',17,'release','39yeo9WTAdiGJq8KcxyCy',0,-2470,40,1.79542208311762714386e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9WFLYrwIxOYbtR8q','0a4d8b9c302928ae',NULL,X'642042F2791D42F5274CA3BF7F0EF33B91288E81990493D2D998548878614C23');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',18,'hold','39yeo9byZSrYTD3z5pnFQ',0,2968,0,1.79542208315467286114e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'B77939FB86A42B7A3A37113E9C277E69DA098651AD3087D6D714C53123CBA09B');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',19,'settle','39yeo9byZSrYTD3z5pnFQ',-38,-2968,0,1.79542208319583272927e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted','39yeo9b4aSB3v5jOX8uhZ','0a4d8b9c302928ae',NULL,X'6B01BF93AC99DBC2C1BE7FA30FC3B4492E32A2E0D2DE4D3292D89D9C324460A8');
INSERT INTO "ledger_entries" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',20,'hold','39yeoAULsQCkUlLOfCC0C',0,2482,0,1.79542208370954251288e+09,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'D7677308ADD9CB5A71789F9C4831A078FC2E64D7FEE38D860359315ED26873E1');
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
INSERT INTO "links" VALUES(X'A3BDD980AC3DAEDD28DC9D3B30859768B3E93AAB8F82F16B8194E8607D6A4160','first_owner',NULL,'owner',NULL,1.79542207405413365359e+09,1.79550847405234742168e+09);
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
INSERT INTO "nodes" VALUES('node_rghLTeFFXbBFEyh9',1.79542208516792416573e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.79542207511772441866e+09);
CREATE TABLE rates (
	subject VARCHAR(32) NOT NULL, 
	unit VARCHAR(10) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (subject, unit)
)
 WITHOUT ROWID

;
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
INSERT INTO "requests" VALUES(1,'39yeo8jsc572zGJ5GOtzK','39yeo94RwJoRRh7DJJ59E',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,2430,206,0,'0a4d8b9c302928ae',NULL,1.79542208282558417319e+09,16,16);
INSERT INTO "requests" VALUES(2,'39yeo9Bp2yobFmqx3W8TD','39yeo9BGp4iEG2cktMMJt',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,2428,208,0,'0a4d8b9c302928ae',NULL,1.79542208289637351039e+09,11,11);
INSERT INTO "requests" VALUES(3,'39yeo9ErnL2GFaRmSBvMY','39yeo9EZkflkaBaGW7hIj',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,2430,210,0,'0a4d8b9c302928ae',NULL,1.79542208292901349069e+09,2,2);
INSERT INTO "requests" VALUES(4,'39yeo9G0ECIkxgEEasiWm','39yeo9HbGnDV32nG79asw',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,2428,212,0,'0a4d8b9c302928ae',NULL,1.79542208295295238496e+09,10,10);
INSERT INTO "requests" VALUES(5,'39yeo9KALE8u74f17mpB7','39yeo9La4w3pBNumBxjtg',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,2430,214,0,'0a4d8b9c302928ae',NULL,1.79542208299994635574e+09,5,7);
INSERT INTO "requests" VALUES(6,'39yeo9OJKSFR6I22lLLXg','39yeo9QuyBY6LGHOvXAr1',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,2428,216,0,'0a4d8b9c302928ae',NULL,1.79542208304800844187e+09,2,10);
INSERT INTO "requests" VALUES(7,'39yeo9UXmn4bNNb08DYiv','39yeo9UbhshrDhEj26sp6',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',33,0,0,0,2440,0,0,'0a4d8b9c302928ae',NULL,1.79542208308901095389e+09,NULL,3);
INSERT INTO "requests" VALUES(8,'39yeo9WTAdiGJq8KcxyCy','39yeo9WFLYrwIxOYbtR8q',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',17,0,3,0,2470,0,40,'0a4d8b9c302928ae',NULL,1.79542208310680603986e+09,5,10);
INSERT INTO "requests" VALUES(9,'39yeo9byZSrYTD3z5pnFQ','39yeo9b4aSB3v5jOX8uhZ',NULL,'acc_iFtwUI50yRdBjqoV48TJ0','key_vdYaQI6PgohNBHR1EFZ5J','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,2,0,2968,38,0,'0a4d8b9c302928ae',NULL,1.79542208315518689158e+09,38,40);
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
)
 WITHOUT ROWID

;
INSERT INTO "usage_buckets" VALUES('acc_iFtwUI50yRdBjqoV48TJ0',1795421700,'key_vdYaQI6PgohNBHR1EFZ5J','house/scripted',9,7,6,2,667,38,1304,40);
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
