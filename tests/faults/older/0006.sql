-- Left by a Tollway of schema 0006 that was killed in the middle of an answer.
-- api_key tw_TctDKkA05FWhoOoujcm5RJqZeJdGSW2hsI0Y
-- secret.key ZWQ4ZjQyNjljNmU0MTBlNWVhMmNhYjcxNGJiZjgwMTczY2I2MGZmZTc1ODNjMzczYzBhMDg2MTA0MGIxM2E1ZAo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','owner',1.79542210722382974625e+09,1.79542210722382974625e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
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
INSERT INTO "api_keys" VALUES('key_ll2LOCaJ5KhavUQ31c3FP','acc_CFswUaPsu6oLvyV9r1QmA','first key','tw_kSqzTeyu4',X'46EF6A7B1A351D6EF306E3DCC7EF7ED61CABEB1676E93125FC75311C5DADBB43',1,1.79542210722602701188e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542210722602701188e+09);
INSERT INTO "api_keys" VALUES('key_UTMic5roHLRoJ7eLu37bm','acc_CFswUaPsu6oLvyV9r1QmA','older','tw_TctDKkA05',X'055AF157AFF4041365C540C62CE60ECA686A53148EF642DD8F311C0552FED920',1,1.79542211430632948875e+09,NULL,1.79542211672689056393e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542211430632948875e+09);
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
INSERT INTO "balances" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',9998696,2482,20,X'68B2008336139CAEE7B664C1FD129EBF93C2F899C3D886C7C1158950D60D5FA0');
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
INSERT INTO "holds" VALUES('39yep3eoahAtTltwyiOQI','acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','node_Q6LebU0ZM646HWZ8',2482,1.79542211793937563895e+09,NULL);
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
INSERT INTO "installation" VALUES('secret_fingerprint','6cc5ca70627159e2daf289e283680f2b8173b2f9b38d5381338f12cfbe3e715e');
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
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',1,'grant','first_grant_acc_CFswUaPsu6oLvyV9r1QmA',10000000,0,0,1.79542210726760315892e+09,NULL,NULL,'init',NULL,NULL,X'8DFE540C8F932C77186F03A8A1D11D23FF4EF08F5CC62A309A9EA2AF7F6D0C83');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',2,'hold','39yep1jIO21hLUvM31F5j',0,2430,0,1.7954221167461547851e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'913077E62FEB4FFD809CFE36A721351F073A212E0219212E9EFB7C4F04A20970');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',3,'settle','39yep1jIO21hLUvM31F5j',-206,-2430,0,1.79542211677278614042e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep1mls5KgM4WOgv8U8','0a4d8b9c302928ae',NULL,X'0C87E0A2CADD7A803E682D6713FA64DD6F37BE65B47630A9006BAE2940A21011');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',4,'hold','39yep26vhutAmVhsJY1Z7',0,2428,0,1.79542211695086193086e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'E075FF9BF5448366AB73BEBE31783B226BA17C3DC5E1EFAEF447BF710EB7D575');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',5,'settle','39yep26vhutAmVhsJY1Z7',-208,-2428,0,1.79542211705155372617e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep27rjubj6igDIXzN1','0a4d8b9c302928ae',NULL,X'5D78E57A308B5A68A80B2ABB89DB39397048AE802151E01BF3F7BAE54D1C99D4');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',6,'hold','39yep2Ine8kxTgYKMqj6v',0,2430,0,1.7954221170768840313e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'5BC2BA7E7A48BDD8496911934256694506DD9A4BDD6973D49A46A3948389189A');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',7,'settle','39yep2Ine8kxTgYKMqj6v',-210,-2430,0,1.79542211710036182402e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2K0I772HBpBz3fwe','0a4d8b9c302928ae',NULL,X'E00D5D798412CE400D2753C67AE9B71AD42A9DD10E0878B234476BD8B1754444');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',8,'hold','39yep2MffC0cFkPQmjOFL',0,2428,0,1.79542211710991334917e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'3F52340BC1BB8F80F854606F95017DE4DCAE07516F56123D9AA23E27FB8F0BF8');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',9,'settle','39yep2MffC0cFkPQmjOFL',-212,-2428,0,1.79542211711451411251e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2NCOH6Ueb5y4tsyj','0a4d8b9c302928ae',NULL,X'C868BB2C43B97C53014E8F0F6BE1C671AAF1D69901AEB1321FBED3FCCA29DBE0');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',10,'hold','39yep2PsyyU4rXLV9717q',0,2430,0,1.79542211713519334797e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'2D255DDB45BEB7D6E75626C6FF438B367352FEA6660CB3CA5D09803A6FD35138');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',11,'settle','39yep2PsyyU4rXLV9717q',-214,-2430,0,1.79542211714121103293e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2PmxSnhcg3CIrBEV','0a4d8b9c302928ae',NULL,X'DF987B59D43F8FF91210290FF261848C5B2A8CF2476120D7ECEDDADB2433B7D0');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',12,'hold','39yep2gOLZZCIst0ODdsx',0,2428,0,1.79542211731843352317e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'B421FA7F27C677879EF8E29A819F3971D751EAF6D7B9FE9BB85868236CEEFE3E');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',13,'settle','39yep2gOLZZCIst0ODdsx',-216,-2428,0,1.7954221173310809136e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2h7n9CBJtD9xiq5G','0a4d8b9c302928ae',NULL,X'E9D97E5137B9E50D06E10A3892B211C77C7F2109B664D79F3F0040C88B6311DA');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',14,'hold','39yep2jSYeX98s6k4SM81',0,2440,0,1.79542211733496475225e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'2B392A733FFDA14121B4158F8F0A9D5D809E1AD0F9C8918052E7AF5ABEFAC7ED');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',15,'release','39yep2jSYeX98s6k4SM81',0,-2440,0,1.79542211734250545503e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2jKvOAPpJMlRJEaw','0a4d8b9c302928ae',NULL,X'CC87776D696686D188A7E0B9F219E22087C7DF47374689631817355716028A6D');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',16,'hold','39yep2kpvC2bBnVWDtBKr',0,2470,0,1.79542211734694957736e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'A85072039DEFA629A2357B25FAD9D28750E3C69CD8E7500D63C4673B9AF3125F');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',17,'release','39yep2kpvC2bBnVWDtBKr',0,-2470,40,1.79542211735499095915e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2kz8qhFD4h1gSmCJ','0a4d8b9c302928ae',NULL,X'32267ACB95B8671B050572B068454F9FD0578D7CE9F902FBA0409D5D16D37BD9');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',18,'hold','39yep2mdTxWYb0W3ZO05U',0,2968,0,1.79542211736132597925e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'40B369053BF6BB4F7815406762554385CA3C4320A1BEEFFE63C6A2505C147DA9');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',19,'settle','39yep2mdTxWYb0W3ZO05U',-38,-2968,0,1.79542211739762091636e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted','39yep2mEfcDSvwey3VFcP','0a4d8b9c302928ae',NULL,X'EBB15BE9F78256D5C70B86A015234247ADB53E047FDB9C99055D17854885D18E');
INSERT INTO "ledger_entries" VALUES('acc_CFswUaPsu6oLvyV9r1QmA',20,'hold','39yep3eoahAtTltwyiOQI',0,2482,0,1.79542211793937563895e+09,'key_UTMic5roHLRoJ7eLu37bm','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'68B2008336139CAEE7B664C1FD129EBF93C2F899C3D886C7C1158950D60D5FA0');
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
INSERT INTO "links" VALUES(X'6C67DB243231E3B34C1C22C2E4C193DB9D6883ABBDEEC302F8FDFADC32A89DBA','first_owner',NULL,'owner',NULL,1.79542210731657266619e+09,1.7955085073124287128e+09);
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
INSERT INTO "nodes" VALUES('node_Q6LebU0ZM646HWZ8',1.79542211807597088812e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.79542210799899411202e+09);
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
INSERT INTO "requests" VALUES(1,'39yep1jIO21hLUvM31F5j','39yep1mls5KgM4WOgv8U8',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,2430,206,0,'0a4d8b9c302928ae',NULL,1.79542211674789309499e+09,22,22);
INSERT INTO "requests" VALUES(2,'39yep26vhutAmVhsJY1Z7','39yep27rjubj6igDIXzN1',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,2428,208,0,'0a4d8b9c302928ae',NULL,1.79542211695142960546e+09,7,99);
INSERT INTO "requests" VALUES(3,'39yep2Ine8kxTgYKMqj6v','39yep2K0I772HBpBz3fwe',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,2430,210,0,'0a4d8b9c302928ae',NULL,1.79542211708802485468e+09,9,9);
INSERT INTO "requests" VALUES(4,'39yep2MffC0cFkPQmjOFL','39yep2NCOH6Ueb5y4tsyj',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,2428,212,0,'0a4d8b9c302928ae',NULL,1.79542211711054325098e+09,2,3);
INSERT INTO "requests" VALUES(5,'39yep2PsyyU4rXLV9717q','39yep2PmxSnhcg3CIrBEV',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,2430,214,0,'0a4d8b9c302928ae',NULL,1.79542211713585329055e+09,3,3);
INSERT INTO "requests" VALUES(6,'39yep2gOLZZCIst0ODdsx','39yep2h7n9CBJtD9xiq5G',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,2428,216,0,'0a4d8b9c302928ae',NULL,1.79542211731894755361e+09,2,11);
INSERT INTO "requests" VALUES(7,'39yep2jSYeX98s6k4SM81','39yep2jKvOAPpJMlRJEaw',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',33,0,0,0,2440,0,0,'0a4d8b9c302928ae',NULL,1.79542211733541631703e+09,NULL,3);
INSERT INTO "requests" VALUES(8,'39yep2kpvC2bBnVWDtBKr','39yep2kz8qhFD4h1gSmCJ',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',17,0,3,0,2470,0,40,'0a4d8b9c302928ae',NULL,1.7954221173473882675e+09,4,7);
INSERT INTO "requests" VALUES(9,'39yep2mdTxWYb0W3ZO05U','39yep2mEfcDSvwey3VFcP',NULL,'acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,2,0,2968,38,0,'0a4d8b9c302928ae',NULL,1.79542211736178016663e+09,31,35);
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
	key_id VARCHAR(32) NOT NULL, 
	span INTEGER NOT NULL, 
	bucket BIGINT NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	succeeded BIGINT NOT NULL, 
	failed BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	CONSTRAINT pk_usage_buckets PRIMARY KEY (account_id, key_id, span, bucket, model)
)
 WITHOUT ROWID

;
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','*',900,1795421700,'house/scripted',9,7,6,2,667,38,1304,40);
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','*',3600,1795420800,'house/scripted',9,7,6,2,667,38,1304,40);
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','*',86400,1795392000,'house/scripted',9,7,6,2,667,38,1304,40);
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm',900,1795421700,'house/scripted',9,7,6,2,667,38,1304,40);
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm',3600,1795420800,'house/scripted',9,7,6,2,667,38,1304,40);
INSERT INTO "usage_buckets" VALUES('acc_CFswUaPsu6oLvyV9r1QmA','key_UTMic5roHLRoJ7eLu37bm',86400,1795392000,'house/scripted',9,7,6,2,667,38,1304,40);
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
CREATE INDEX ix_requests_client_request_id ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX ix_requests_inference_id ON requests (inference_id);
CREATE INDEX ix_users_account_id ON users (account_id);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_login_tries_began_at ON login_tries (began_at);
CREATE INDEX ix_requests_account_id ON requests (account_id, created_at, id);
CREATE INDEX ix_requests_key_id ON requests (key_id, created_at, id);
CREATE INDEX ix_requests_model ON requests (account_id, model, created_at, id);
CREATE INDEX ix_requests_no_success ON requests (account_id, created_at, id) WHERE status <> 'succeeded';
CREATE INDEX ix_ledger_entries_by_key ON ledger_entries (key_id, at, number) WHERE posted <> 0;
COMMIT;
